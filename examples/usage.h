#pragma once
#include <cstdio>
#include <string_view>

/// Prints how a program is called, and gives true, where its first argument asks for that.
inline bool asks_for_help(int argc, char** argv, const char* usage) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first != "--help" && first != "-h") return false;
  std::printf("usage: %s\n", usage);
  return true;
}
