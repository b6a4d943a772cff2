#pragma once
#include <chrono>
#include <string>
#include <vector>

namespace diffract::test {

struct ProgramResult {
  int exit_code;  // 128 + n for a signal n
  std::string out, err;
};

/// Runs the built `diffract` with these arguments in a folder and waits for it; a run beyond `timeout` is
/// killed and gives exit code 137.
ProgramResult run_diffract(const std::vector<std::string>& arguments, const std::string& folder,
                           std::chrono::seconds timeout = std::chrono::seconds(120));

}  // namespace diffract::test
