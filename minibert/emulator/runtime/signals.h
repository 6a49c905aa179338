// Signals while a kernel runs: an invalid address, a division by zero, abort(), an illegal instruction, Ctrl-C, the end
// of the time limit.  The kernel's thread is abandoned and the launch ends with an error; Python continues.
#pragma once
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "failures.h"

namespace emulator {

constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGILL, SIGTRAP, SIGINT, SIGVTALRM};
constexpr unsigned SIGNAL_COUNT = sizeof(SIGNALS) / sizeof(SIGNALS[0]);
constexpr size_t SIGNAL_STACK_BYTES = 64 * 1024;  // a separate stack: the thread's may be the one that overflowed

static struct sigaction earlier_actions[SIGNAL_COUNT];
static stack_t earlier_stack;
alignas(64) static char signal_stack[SIGNAL_STACK_BYTES];
static pthread_t launching_thread;
static volatile sig_atomic_t interrupted;  // a signal came while the scheduler ran

__attribute__((format(printf, 2, 3))) inline void report_signal(Kind kind, const char* text, ...) {
    va_list values;
    va_start(values, text);
    write_report(report, kind, {nullptr, 0}, text, values);
    va_end(values);
}

// Whether an address is at the guard page of the current thread's stack, or not far below.
inline bool overflows_stack(const char* address) {
    const char* begin = launch->stacks + current->fiber.stack * STACK_BYTES;
    return address >= begin - 4 * STACK_BYTES && address < begin + 2 * size_t(getpagesize());
}

inline void explain_signal(int signal, const siginfo_t* details) {
    if (interrupted) signal = interrupted;
    if (signal == SIGINT) return report_signal(Kind::INTERRUPTED, "interrupted");
    if (signal == SIGFPE) return report_signal(Kind::ARITHMETIC, "integer division by zero");
    if (signal == SIGABRT) return report_signal(Kind::TRAP, "an exception was not caught, or the C++ library gave up");
    if (signal == SIGILL || signal == SIGTRAP) return report_signal(Kind::TRAP, "an instruction that ends the program");
    if (signal == SIGVTALRM) {
        return report_signal(Kind::ENDLESS, "the launch did not end within %u seconds: does a loop wait for another "
                             "thread without a barrier?  (emulator.time_limit sets another limit)", launch->seconds);
    }
    if (current != nullptr && overflows_stack(static_cast<const char*>(details->si_addr))) {
        return report_signal(Kind::LAUNCH, "the local variables of a thread need more than %zu bytes", LOCAL_BYTES);
    }
    report_signal(Kind::OUT_OF_BOUNDS, "an address was used that is not there, or no multiple of what is read from it: "
                  "launch the kernel inside `with emulator.checking():` to learn which");
}

inline size_t counter_of_context(void* context) {
#if defined(__linux__) && defined(__x86_64__)
    greg_t counter = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
    return library_offset(reinterpret_cast<void*>(counter + 1));
#elif defined(__linux__) && defined(__aarch64__)
    return library_offset(reinterpret_cast<void*>(static_cast<ucontext_t*>(context)->uc_mcontext.pc + 1));
#else
    (void)context;
    return 0;
#endif
}

inline void restore_action(int signal) {
    for (unsigned i = 0; i < SIGNAL_COUNT; i++) {
        if (SIGNALS[i] == signal) sigaction(signal, &earlier_actions[i], nullptr);
    }
}

inline void set_timer(unsigned seconds, unsigned microseconds = 0) {
    struct itimerval timer = {};
    timer.it_value.tv_sec = seconds, timer.it_value.tv_usec = microseconds;
    setitimer(ITIMER_VIRTUAL, &timer, nullptr);  // counts CPU time of the process
}

void on_signal(int signal, siginfo_t* details, void* context) {
    bool is_request = signal == SIGINT || signal == SIGVTALRM, here = pthread_equal(pthread_self(), launching_thread);
    if (is_request && !here) {  // another thread of the process received a signal meant for the kernel
        pthread_kill(launching_thread, signal);
        return;
    }
    if (!here || current == nullptr || in_loader) {  // the scheduler is running, or another thread, not the kernel
        if (is_request) {
            if (!interrupted) interrupted = signal;
            set_timer(0, 1000);  // again soon: threads that meet at barriers for ever never end their block
        } else restore_action(signal);  // not the kernel's fault: on return it happens again, with the earlier handler
        return;
    }
    explain_signal(signal, details);
    report.counter = counter_of_context(context);
    stop();
    abandon_thread();
}

inline void catch_signals() {
    launching_thread = pthread_self();
    interrupted = 0;
    stack_t stack = {};
    stack.ss_sp = signal_stack, stack.ss_size = sizeof signal_stack;
    sigaltstack(&stack, &earlier_stack);
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    for (unsigned i = 0; i < SIGNAL_COUNT; i++) sigaction(SIGNALS[i], &action, &earlier_actions[i]);
    if (launch->seconds > 0) set_timer(launch->seconds);
}

inline void release_signals() {
    set_timer(0);
    for (unsigned i = 0; i < SIGNAL_COUNT; i++) sigaction(SIGNALS[i], &earlier_actions[i], nullptr);
    sigaltstack(&earlier_stack, nullptr);
}

// After a block: was there a signal while the scheduler ran?
inline void notice_signal() {
    if (!interrupted || stopped) return;
    if (interrupted == SIGINT) report_signal(Kind::INTERRUPTED, "interrupted");
    else report_signal(Kind::ENDLESS, "the launch did not end within %u seconds", launch->seconds);
    stop();
}

}  // namespace emulator
