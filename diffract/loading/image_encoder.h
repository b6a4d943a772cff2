#pragma once
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/io/model_folder.h"
#include "diffract/loading/family_facts.h"
#include "diffract/loading/load_options.h"

namespace diffract::loading {

/// The component that makes embeddings of the pictures of IP-Adapters.
constexpr const char* kImageEncoder = "image_encoder";

/// The folder of a pipeline with what IP-Adapters need: its denoiser's config grown, and the picture encoder:
/// the one that the options name, else the folder's own, else one that lies beside an adapter's file. Throws
/// as IpAdapterSet, and UsageError where there is no picture encoder. Without options the folder as it is.
io::ModelFolder with_ip_adapters(io::ModelFolder folder, const FamilyFacts* facts,
                                 const std::vector<IpAdapterOption>& options);

/// Sets every adapter's picture encoder, the option's text. Throws UsageError where there is no adapter.
void set_image_encoder(LoadOptions& options, const std::string& folder);
/// What an image's parameters say of it.
Json image_encoder_parameters(const std::string& folder);

}  // namespace diffract::loading
