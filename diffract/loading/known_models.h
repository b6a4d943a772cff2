#pragma once
#include <string>
#include <string_view>

namespace diffract::loading {

/// The class of a well-known repository on the hub, e.g. of "stabilityai/sdxl-turbo"; empty for another one.
std::string_view class_of_repository(const std::string& repository);

}  // namespace diffract::loading
