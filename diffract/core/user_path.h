#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace diffract {

/// The home folder: HOME, else that of the user's account, as in a container without HOME. Empty where
/// neither is known.
std::filesystem::path home_folder();

/// A path whose leading "~" or "~NAME" is a home folder, as a shell and Python's os.path.expanduser read it.
/// A name that has no account stays as it is.
std::string expand_home(std::string_view path);

/// A text in which "$NAME" and "${NAME}" are replaced by the environment's variables, as Python's
/// os.path.expandvars does; those that are not set stay as they are.
std::string expand_variables(std::string_view text);

}  // namespace diffract
