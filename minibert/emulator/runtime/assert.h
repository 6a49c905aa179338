// Included for <assert.h> and <cassert>: a failed assert() in a kernel ends the launch with a diagnosis.
// As in C, no include guard: each inclusion obeys NDEBUG anew.
#undef assert
#ifdef NDEBUG
#define assert(...) (static_cast<void>(0))
#else
#define assert(...) \
    (static_cast<bool>(__VA_ARGS__) ? static_cast<void>(0) : emulator::assertion_fails(#__VA_ARGS__, EMULATOR_CALLER))
#endif
