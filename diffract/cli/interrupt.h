#pragma once

namespace diffract::cli {

/// From the first call on, the first Ctrl-C (or SIGTERM) asks the work to stop, which it does at its next
/// layer, and the second ends the process at once. `says_so`: with a line on stderr at the first.
void install_interrupt_handler(bool says_so);

}  // namespace diffract::cli
