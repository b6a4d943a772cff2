#pragma once
#include <span>

#include "diffract/core/foreign_names.h"

namespace diffract::schedulers {

/// What other programs (k-diffusion, stable-diffusion-webui, ComfyUI, stable-diffusion.cpp) call schedulers
/// and samplers, and diffusers' classes that are not here.
std::span<const ForeignName> foreign_schedulers();

}  // namespace diffract::schedulers
