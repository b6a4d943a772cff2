#pragma once
/// The public face of diffract: the names that diffusers, accelerate and torch.distributed use.

#include "diffract/core/error.h"
#include "diffract/io/image.h"
#include "diffract/models/autoencoder_kl.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/pipeline.h"

namespace diffract {

using io::Image;
using models::AutoencoderKL;
using pipelines::DiffusionPipeline;
using pipelines::LoadOptions;
using pipelines::Output;
using pipelines::OutputType;
using pipelines::Request;
using pipelines::StepReport;
using pipelines::VaeImageProcessor;

}  // namespace diffract
