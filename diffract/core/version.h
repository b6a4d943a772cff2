#pragma once

namespace diffract {

extern const char* const kVersion;  // of CMake's project(VERSION)

}  // namespace diffract
