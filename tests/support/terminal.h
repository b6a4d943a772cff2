#pragma once
#include <string>
#include <vector>

namespace diffract::test {

struct TerminalEnd {
  int exit_code;      // 128 + n for a signal n
  std::string shown;  // all that was written to the terminal; a line ends with "\r\n" there
};

/// Runs a program to its end with its three streams on a terminal of so many columns.
TerminalEnd run_on_terminal(const std::vector<std::string>& command, int columns, const std::string& folder);

}  // namespace diffract::test
