#pragma once
/// The public face of diffract: the names that diffusers, accelerate and torch.distributed use.

#include "diffract/core/error.h"
#include "diffract/io/image.h"
#include "diffract/pipelines/auto_model.h"
#include "diffract/pipelines/flux.h"
#include "diffract/pipelines/flux_latents.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/pipeline.h"

namespace diffract {

using io::Image;
using pipelines::AutoModel;
using pipelines::DiffusionPipeline;
using pipelines::flush;
using pipelines::FluxPipeline;
using pipelines::LoadOptions;
using pipelines::ModelOptions;
using pipelines::Output;
using pipelines::OutputType;
using pipelines::Request;
using pipelines::StepReport;
using pipelines::unpack_latents;
using pipelines::VaeImageProcessor;
using placement::DeviceMap;
using placement::MaxMemory;
using AutoencoderKL = pipelines::ModelHandle<models::AutoencoderKL>;
using FluxTransformer2DModel = pipelines::ModelHandle<models::FluxTransformer2DModel>;

}  // namespace diffract
