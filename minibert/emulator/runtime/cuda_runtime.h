// For sources that include it: all of it is defined before a kernel's source begins (see cuda_emulator.h), except the
// functions of the host, which host.h defines.
#pragma once
#include "host.h"
