#pragma once

namespace diffract {

/// Asks the work of this process to end soon, as Ctrl-C does in the program: whatever computes throws
/// Cancelled at its next layer, the VAE's among them. May be called in a signal handler. A program that never
/// calls it is never stopped.
void ask_to_stop() noexcept;
bool asked_to_stop() noexcept;

/// Throws Cancelled once somebody asked; called wherever work can be left off, each layer of a model among
/// it. Costs a read of a flag.
void stop_if_asked();

}  // namespace diffract
