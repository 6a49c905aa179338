// The other half of alone.cu: fills a Launch, as launch.py does, and prints what went wrong, or the results.
// usage: alone KERNEL ORDER
#include "runtime.cpp"

extern "C" const emulator::Kernel emulator_kernels[];

int main(int count, char** words) {
    if (count != 3) return 2;
    const emulator::Kernel* kernel = emulator_kernels;
    while (kernel->name != nullptr && std::strcmp(kernel->name, words[1]) != 0) kernel++;
    if (kernel->name == nullptr) return 2;

    alignas(128) static float x[256], y[512];
    for (int i = 0; i < 256; i++) x[i] = float(i * 37 % 11 - 5);
    int n = 100;
    const float* from = x;
    float* to = y;
    void* arguments[] = {&from, &to, &n};
    emulator::Array arrays[] = {{reinterpret_cast<char*>(x), sizeof x, sizeof(float), nullptr, 0},
                                {reinterpret_cast<char*>(y), sizeof y, sizeof(float), nullptr, 1}};
    emulator::Launch launch = {};
    launch.kernel = kernel;
    launch.arguments = arguments;
    launch.grid[0] = std::strcmp(kernel->name, "product") == 0 ? 1 : 2, launch.grid[1] = launch.grid[2] = 1;
    launch.block[0] = 128, launch.block[1] = launch.block[2] = 1;
    launch.most_shared = 48 * 1024;
    launch.stacks = emulator_make_stacks();
    launch.order = static_cast<emulator::Order>(std::atoi(words[2]));
    launch.seed = 1;
    launch.seconds = 60;
    launch.array_count = 2;
    launch.arrays = arrays;
    const emulator::Report* report = emulator_launch(&launch);
    if (report->kind != emulator::Kind::NOTHING) {
        std::printf("error %d line %d: %s\n", int(report->kind), report->line, report->text);
        return 0;
    }
    for (float value : y) std::printf("%a\n", double(value));
    return 0;
}
