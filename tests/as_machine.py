#!/usr/bin/env python3
"""Runs a test program as another kind of machine would: as_machine.py KIND PROGRAM [ARGUMENT ...]

libtorch, oneDNN and MKL each choose their code by the processor's instructions, and sums of products come out in another
order with each. KIND holds all three to a kind of processor, or the program to one core:

    avx2      AMD before Zen 4, Intel desktops
    avx512    AMD from Zen 4 on, Intel servers before Sapphire Rapids
    amx       Intel servers since
    one-core  any of them, one core

MKL heeds MKL_ENABLE_INSTRUCTIONS on Intel's processors only; on others MKL_CBWR chooses, which orders its sums besides.
Where the processor here has not got the instructions, the exit code is 77, which CTest counts as skipped.
"""
import os
import sys

KINDS = {
    "avx2": ({"avx2", "fma"}, {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
                               "MKL_ENABLE_INSTRUCTIONS": "AVX2", "MKL_CBWR": "AVX2"}),
    "avx512": ({"avx512f", "avx512bw", "avx512vl", "avx512dq"},
               {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
                "MKL_ENABLE_INSTRUCTIONS": "AVX512", "MKL_CBWR": "AVX512"}),
    "amx": ({"amx_tile", "amx_bf16"}, {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}),
    "one-core": (set(), {}),
}


def about_processor(key):
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith(key):
                return set(line.split(":", 1)[1].split())
    return set()


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in KINDS:
        sys.exit(__doc__)
    needed, variables = KINDS[sys.argv[1]]
    if "GenuineIntel" in about_processor("vendor_id"):
        variables.pop("MKL_CBWR", None)
    if missing := needed - about_processor("flags"):
        print(f"skipped: this processor has no {', '.join(sorted(missing))}")
        sys.exit(77)
    if sys.argv[1] == "one-core":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.execve(sys.argv[2], sys.argv[2:], os.environ | variables)


if __name__ == "__main__":
    main()
