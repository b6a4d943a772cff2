#pragma once

namespace diffract::cli {

inline constexpr const char* kVersion = DIFFRACT_VERSION;  // from CMake's project(VERSION)

}  // namespace diffract::cli
