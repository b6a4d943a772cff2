#pragma once
#include <functional>
#include <set>
#include <string>

namespace diffract {

/// The keys that ConfigReaders of this thread ask for while `read` runs, whether they are there or not: what
/// is left over in a config was misspelt, or belongs to another class.
std::set<std::string> keys_read_by(const std::function<void()>& read);

}  // namespace diffract
