#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/core/foreign_names.h"

namespace diffract::jobs {

/// What diffusers, stable-diffusion-webui, stable-diffusion.cpp and ComfyUI call options of `diffract
/// generate`, and options of theirs that are not there. Schedulers' names: schedulers/foreign_schedulers.h.
std::span<const ForeignName> foreign_options();
/// The same for the word behind `diffract`.
std::span<const ForeignName> foreign_commands();
/// Whether every option that an advice names is one of `known` ("--steps"); those of `diffract launch` count
/// as known everywhere.
bool can_be_followed(std::string_view advice, const std::vector<std::string>& known);

}  // namespace diffract::jobs
