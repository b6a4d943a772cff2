#pragma once
#include <string>
#include <utility>

#include "diffract/placement/device_map.h"

namespace diffract::loading {

/// device_map as from_pretrained takes it: a strategy ("auto", "balanced", "balanced_low_0", "sequential"),
/// "ranks" (over the processes of the job), a device for everything ("cuda:1", "cpu"), a JSON file with a
/// map, or a map.
class DeviceMapArgument {
 public:
  DeviceMapArgument() = default;  // none
  DeviceMapArgument(const char* text) : text_(text) {}
  DeviceMapArgument(std::string text) : text_(std::move(text)) {}
  DeviceMapArgument(placement::DeviceMap map) : map_(std::move(map)) {}

  bool is_given() const { return !text_.empty() || !map_.empty(); }
  const std::string& text() const { return text_; }  // empty where it is a map
  const placement::DeviceMap& map() const { return map_; }

 private:
  std::string text_;
  placement::DeviceMap map_;
};

}  // namespace diffract::loading
