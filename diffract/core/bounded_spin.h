#pragma once

namespace diffract {

/// The threads of libgomp, on which libtorch computes, wait for each other at the end of every loop that they
/// share. By default they spin for up to 300,000 turns (3 to 20 ms) before they sleep, which on a machine
/// whose cores are taken by others keeps the very thread from running that is waited for. So many turns
/// (0.02 to 0.07 ms) are enough on a quiet machine. libgomp reads its variable before `main`; it holds only
/// where neither of the two is set (docs/performance.md, "On a busy machine").
inline constexpr const char* kSpinVariable = "GOMP_SPINCOUNT";
inline constexpr const char* kSpinTurns = "1000";
inline constexpr const char* kWaitPolicyVariable = "OMP_WAIT_POLICY";

}  // namespace diffract
