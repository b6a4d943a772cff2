#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace diffract::test {

using ProgramResult = ProcessEnd;

/// Runs the built `diffract` with these arguments in a folder and waits for it; a run beyond `timeout` is
/// killed and gives exit code 137.
ProgramResult run_diffract(const std::vector<std::string>& arguments, const std::string& folder,
                           std::chrono::seconds timeout = std::chrono::seconds(120));

}  // namespace diffract::test
