#pragma once
#include <cstdint>
#include <string>

namespace diffract::cli {

/// "23.80 GB", "35.0 MB", "0.6 kB".
std::string size_text(uint64_t bytes);

}  // namespace diffract::cli
