#pragma once
#include <cstdint>
#include <string>

namespace diffract::loading {

/// How a component's weights are in memory between requests.
struct ComponentStay {
  std::string name;
  bool stays;            // loaded once, and in memory since
  int64_t loads;         // how often it was loaded so far
  std::string gone_for;  // where it did not stay: what took its room
};

}  // namespace diffract::loading
