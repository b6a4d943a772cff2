#pragma once
#include <filesystem>
#include <string>

#include "diffract/io/model_folder.h"

namespace diffract::io {

/// The Hugging Face cache's folder of models: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub,
/// XDG_CACHE_HOME/huggingface/hub, or ~/.cache/huggingface/hub; the first that is set. "~", "$NAME" and
/// "${NAME}" in them are expanded; without HOME the home folder is the account's.
std::filesystem::path hub_cache_folder();

/// The folder of a model given as a path or as ORG/NAME[@REV], which is looked up in `cache` and never on the
/// network. REV is a branch, a tag or a commit; without it, "main". Throws UsageError for a malformed name,
/// CheckpointError saying where it looked, and which files are missing when a component's config is not
/// there.
std::filesystem::path resolve_model(const std::string& model,
                                    const std::filesystem::path& cache = hub_cache_folder());

/// Throws CheckpointError naming every file that `folder` lacks of what a picture needs (missing_files), and
/// how to fetch them where `model`, as the user gave it, is ORG/NAME[@REV].
void require_all_files(const ModelFolder& folder, const std::string& variant, const std::string& model);

}  // namespace diffract::io
