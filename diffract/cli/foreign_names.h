#pragma once
#include <span>

#include "diffract/core/foreign_names.h"

namespace diffract::cli {

/// What diffusers, stable-diffusion-webui, stable-diffusion.cpp and ComfyUI call options of `diffract
/// generate`, and options of theirs that are not there. Schedulers' names: schedulers/foreign_schedulers.h.
std::span<const ForeignName> foreign_options();
/// The same for the word behind `diffract`.
std::span<const ForeignName> foreign_commands();

}  // namespace diffract::cli
