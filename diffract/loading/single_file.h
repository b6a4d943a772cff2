#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "diffract/io/model_folder.h"
#include "diffract/loading/family_facts.h"

namespace diffract::loading {

/// What a single file is: a kind of a family.
struct FoundKind {
  const FamilyFacts* family;
  const SingleFileKind* kind;
};

/// Which of the families' kinds a file is, by its keys and shapes. Throws CheckpointError for one that is
/// damaged.
std::optional<FoundKind> find_single_file_kind(const io::SafetensorsFile& file,
                                               std::span<const FamilyFacts* const> families);
/// The same. Throws CheckpointError naming what a file is that is no such kind, and the kinds.
FoundKind require_single_file_kind(const io::SafetensorsFile& file,
                                   std::span<const FamilyFacts* const> families);

/// What `diffract info` says of such a file: {"kind", "config", "components": {NAME: {"parameters", "bytes",
/// "dtypes"}}, "left_out"}; nothing where it is none.
std::optional<Json> describe_single_file(const io::SafetensorsFile& file,
                                         std::span<const FamilyFacts* const> families);

/// Takes the components that the file has in place of the folder's. Those that it has not stay the folder's.
/// Throws CheckpointError for a file of another kind than the folder's family.
void take_components(io::ModelFolder& folder, const std::shared_ptr<const io::SafetensorsFile>& file,
                     const FamilyFacts& facts);
/// Throws CheckpointError naming the components that neither has, and what to do.
void require_components(const io::ModelFolder& folder, const FamilyFacts& facts, const std::string& variant);

/// The weights of one component in a file that may hold others too, and may have the names of the model's
/// authors. `class_name`, `config`: the component's. No names where the file has none of it.
std::optional<io::WeightFiles> component_in_file(const io::SafetensorsFile& file,
                                                 const std::string& component, const std::string& class_name,
                                                 const ConfigReader& config, const FamilyFacts& facts);

}  // namespace diffract::loading
