#pragma once
#include <filesystem>
#include <string>

#include "diffract/io/model_folder.h"

namespace diffract::io {

/// The Hugging Face cache's folder of models: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub,
/// XDG_CACHE_HOME/huggingface/hub, or ~/.cache/huggingface/hub; the first that is set. "~", "$NAME" and
/// "${NAME}" in them are expanded; without HOME the home folder is the account's.
std::filesystem::path hub_cache_folder();

// `model` is of the form ORG/NAME[@REV], which is looked up in `cache` and never on the network; for any
// other all but is_hub_name() throw CheckpointError. REV is a branch, a tag or a commit; without it, "main".

/// What a model is wanted for, and so what of it is to be fetched: a plan needs its JSON files only, a single
/// file needs all but the weights, and one of which nothing is known is first looked at.
enum class Wanted { all, configs, no_weights, first_look };

bool is_hub_name(const std::string& model);
/// The command that fetches a model, as messages give it.
std::string download_command(const std::string& model, Wanted wanted = Wanted::all);
/// Whether something of the repository is there, be it another revision.
bool is_in_cache(const std::string& model, const std::filesystem::path& cache = hub_cache_folder());
/// Says where the model was looked for and how to fetch it.
std::string not_in_cache(const std::string& model, Wanted wanted,
                         const std::filesystem::path& cache = hub_cache_folder());
/// The snapshot's folder, whole or not. Throws CheckpointError where there is none.
std::filesystem::path find_snapshot(const std::string& model, Wanted wanted = Wanted::all,
                                    const std::filesystem::path& cache = hub_cache_folder());
/// Throws CheckpointError naming what a snapshot lacks of what every command needs, and how to fetch it.
void require_configs(const std::filesystem::path& snapshot, const std::string& model,
                     Wanted wanted = Wanted::all);

/// Throws CheckpointError naming every file that `folder` lacks of what a picture needs (missing_files), and
/// how to fetch them where `model`, as the user gave it, is ORG/NAME[@REV].
void require_all_files(const ModelFolder& folder, const std::string& variant, const std::string& model);

}  // namespace diffract::io
