#pragma once
#include <string>

namespace diffract::launch {

/// Gives this process a name of its own in ps and top: `name`, at most 15 bytes, and `command` in place of
/// the command line it was started with, as far as there is room for it.
void name_process(const std::string& name, const std::string& command);

}  // namespace diffract::launch
