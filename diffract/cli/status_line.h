#pragma once
#include <cstddef>
#include <string>

namespace diffract::cli {

/// True when what is written to stderr is seen on a terminal.
bool stderr_is_terminal();
/// How wide that terminal is; 80 where it does not say.
size_t terminal_columns();

/// Draws a line over and over in one place, the terminal's last line: a progress bar. What is wider than the
/// terminal is cut off.
void draw_status(std::string line);
/// Ends the drawn line, if one stands there, so that what is printed next begins a line of its own. Log lines
/// do so themselves; whoever prints to stdout calls it first.
void end_status();

}  // namespace diffract::cli
