#pragma once
/// The public face of diffract: the names that diffusers, accelerate and torch.distributed use.

#include "diffract/core/error.h"
#include "diffract/distributed/devices.h"
#include "diffract/distributed/lane.h"
#include "diffract/distributed/partial_state.h"
#include "diffract/distributed/process_group.h"
#include "diffract/distributed/spawn.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/families/flux/flux.h"
#include "diffract/families/flux/flux_latents.h"
#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl.h"
#include "diffract/io/image.h"
#include "diffract/io/picture.h"
#include "diffract/loading/auto_model.h"
#include "diffract/loading/flush.h"
#include "diffract/models/vae/autoencoder_tiny.h"
#include "diffract/pipelines/image_processor.h"

namespace diffract {

using distributed::all_gather;
using distributed::all_reduce;
using distributed::all_to_all;
using distributed::barrier;
using distributed::broadcast;
using distributed::current_variables;
using distributed::destroy_process_group;
using distributed::detect_environment;
using distributed::get_backend;
using distributed::get_rank;
using distributed::get_world_size;
using distributed::Group;
using distributed::init_process_group;
using distributed::is_initialized;
using distributed::local_device;
using distributed::new_group;
using distributed::PartialState;
using distributed::recv;
using distributed::ReduceOp;
using distributed::run_in_flight;
using distributed::send;
using distributed::spawn;
using families::DiffusionPipeline;
using families::FluxPipeline;
using families::StableDiffusionXLPipeline;
using families::unpack_latents;
using io::Image;
using io::load_image;
using loading::AutoModel;
using loading::flush;
using loading::LoadOptions;
using loading::ModelOptions;
using pipelines::InputPicture;
using pipelines::Output;
using pipelines::OutputType;
using pipelines::Request;
using pipelines::StepReport;
using pipelines::VaeImageProcessor;
using placement::DeviceMap;
using placement::MaxMemory;
using AutoencoderKL = loading::ModelHandle<models::AutoencoderKL>;
using AutoencoderTiny = loading::ModelHandle<models::AutoencoderTiny>;
using FluxTransformer2DModel = loading::ModelHandle<models::FluxTransformer2DModel>;

}  // namespace diffract
