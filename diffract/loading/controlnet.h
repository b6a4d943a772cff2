#pragma once
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/io/model_folder.h"
#include "diffract/loading/family_facts.h"

namespace diffract::loading {

/// A checkpoint's folder with the option's ControlNets as its components "controlnet", "controlnet_1", ...,
/// as diffusers saves several; they take the place of its own. `options`: folders, or ORG/NAME[@REV] from the
/// Hugging Face cache. Throws UsageError for a family that takes none, CheckpointError for what is no
/// ControlNet of the family.
io::ModelFolder with_controlnets(io::ModelFolder folder, const FamilyFacts* facts,
                                 const std::vector<std::string>& options);

/// The component of ControlNet `i`.
std::string controlnet_name(size_t i);
/// The components of a folder that are ControlNets, in their order.
std::vector<std::string> controlnet_names(const io::ModelFolder& folder);

/// What an image's parameters say of them: names and hashes, not where they are. `lines`: one option a line.
Json controlnet_parameters(const std::string& lines);

}  // namespace diffract::loading
