#pragma once
#include <map>
#include <string>

#include "diffract/io/model_folder.h"
#include "diffract/loading/family_facts.h"

namespace diffract::loading {

/// Takes components from other files or folders (LoadOptions::components) in place of the folder's. A file's
/// config is the folder's own. Throws UsageError for a component that the folder has not, CheckpointError for
/// files that are damaged or not there.
void give_components(io::ModelFolder& folder, const std::map<std::string, std::string>& components,
                     const FamilyFacts& facts);

/// What an image's parameters say of such a file or folder: its name and hash, not where it is.
Json component_parameters(const std::string& path);
/// The same of the folder that --config names.
Json config_parameters(const std::string& path);

}  // namespace diffract::loading
