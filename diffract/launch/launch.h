#pragma once
#include <functional>
#include <string>
#include <vector>

namespace diffract::launch {

/// `diffract launch ARGUMENTS`: runs the job and returns its exit code. `generate_knows` tells which options
/// `diffract generate` has. Throws UsageError before anything is started.
int run(const std::vector<std::string>& arguments,
        const std::function<bool(const std::string&)>& generate_knows);

}  // namespace diffract::launch
