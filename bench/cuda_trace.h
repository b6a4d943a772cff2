#pragma once
#include <functional>
#include <string>

namespace diffract::bench {

/// Runs `work` and writes what the GPU did meanwhile, kernel by kernel, as a Chrome trace.
void trace(const std::string& file, const std::function<void()>& work);

}  // namespace diffract::bench
