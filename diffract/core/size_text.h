#pragma once
#include <cstdint>
#include <string>

namespace diffract {

/// "23.80 GB", "35.0 MB", "0.6 kB", "12 B".
std::string size_text(int64_t bytes);

}  // namespace diffract
