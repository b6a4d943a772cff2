#include "diffract/jobs/foreign_names.h"

#include <algorithm>
#include <vector>

namespace diffract::jobs {
namespace {

struct Row {
  std::string_view advice, names;  // the names have blanks between them
};

constexpr Row kOptions[] = {
    {"it is not there yet: see docs/differences.md",
     "upscale upscale-model "
     "upscaler hires-fix enable-hr hr-scale "
     "gguf host port listen api share hf-token token auth-token "
     "download quantize quantization load-in-8bit load-in-4bit num-frames video fps prompt-3 "
     "negative-prompt-3"},
    {"here it is --image", "init-image init-img input-image img img2img start-image i"},
    {"here it is --mask-image, beside --image", "mask mask-img inpaint inpaint-mask"},
    {"here it is --strength, beside --image", "denoise denoising-strength image-strength"},
    {"here it is --padding-mask-crop", "inpaint-full-res-padding only-masked-padding"},
    {"here it is --controlnet, with --control-image",
     "control-net controlnet-path controlnet-model controlnet-dir control-model"},
    {"here it is --control-image, with --controlnet",
     "control-img controlnet-image control-picture hint-image"},
    {"here it is --controlnet-conditioning-scale",
     "control-strength controlnet-strength control-weight controlnet-weight controlnet-scale"},
    {"run the refiner's own folder behind the base model, with --image and --denoising-start", "refiner"},
    {"here it is --vae, with a file, a folder or ORG/NAME",
     "vae-path vae-dir vae-model vae-name taesd taesd-path tae"},
    {"here it is --text-encoder, with a file, a folder or ORG/NAME", "clip-l clip-l-path text-encoder-1"},
    {"here it is --text-encoder-2, with a file, a folder or ORG/NAME", "clip-g clip-g-path t5xxl t5xxl-path"},
    {"here it is --model FILE.safetensors, with --config FOLDER",
     "single-file from-single-file original-config original-config-file"},
    {"here it is --lora FILE=WEIGHT",
     "lora-path lora-model-dir lora-scale lora-weight lora-weights lora-dir lora-model adapter adapter-name"},
    {"here it is --ip-adapter FILE, with --ip-adapter-image FILE",
     "ip-adapter-model ip-adapter-path ip-adapter-weights image-prompt reference-image style-image"},
    {"here it is --ip-adapter-scale", "ip-adapter-strength ip-adapter-weight"},
    {"here it is --ip-adapter-image-encoder DIR", "image-encoder clip-vision clip-vision-model"},
    {"here it is --textual-inversion FILE=TOKEN", "embedding embeddings embd-dir embeddings-dir ti"},
    {"here it is --guidance-scale",
     "cfg cfg-scale guidance guidance-strength scale unconditional-guidance-scale"},
    {"here it is --scheduler",
     "sampler sampling-method sampler-name sample-method sampler-type sampling sample"},
    {"here it is --scheduler-config '{\"use_karras_sigmas\": true}'",
     "karras use-karras-sigmas karras-sigmas"},
    {"here it is --model",
     "ckpt ckpt-path ckpt-name checkpoint checkpoint-path model-path model-id model-name model-dir "
     "pretrained-model-name-or-path pretrained-model pretrained-model-path diffusion-model repo repo-id "
     "base-model sd-model"},
    {"here it is --output, a pattern such as \"out/{index}.png\"",
     "out outdir out-dir output-dir output-path output-file output-folder output-name outfile outpath "
     "save save-path save-dir filename"},
    {"here it is --dtype", "torch-dtype precision weight-dtype weight-type data-type type"},
    {"here it is --dtype float16", "fp16 half float16 half-precision f16"},
    {"here it is --dtype bfloat16", "bf16 bfloat16"},
    {"arithmetic is float32 unless --dtype or --compute-dtype says otherwise",
     "fp32 float32 full full-precision no-half no-half-vae upcast-sampling"},
    {"here it is --num-images-per-prompt",
     "batch-count n-iter num-images n-samples num-samples n-images images-per-prompt images num"},
    {"here it is --batch-size, and --num-images-per-prompt for how many", "batch b"},
    {"here it is --steps",
     "sample-steps sampling-steps num-steps inference-steps ddim-steps num-sampling-steps n-steps"},
    {"here it is --negative-prompt", "negative neg neg-prompt uc uncond negative-text"},
    {"here it is --prompt", "text caption positive positive-prompt prompt-text"},
    {"give --prompt several times, or --prompts-file", "prompts"},
    {"here it is --prompts-file", "prompt-file from-file prompts-from-file input-file f"},
    {"--device-map auto places the models within the memory that there is",
     "lowvram medvram novram cpu-offload model-cpu-offload enable-model-cpu-offload sequential-cpu-offload "
     "enable-sequential-cpu-offload offload offload-to-cpu vae-on-cpu clip-on-cpu always-offload-from-vram"},
    {"it is not needed: the VAE decodes band by band, without seams",
     "vae-tiling enable-vae-tiling tiled-vae vae-slicing enable-vae-slicing"},
    {"it is not needed: attention never holds its whole matrix",
     "xformers enable-xformers enable-xformers-memory-efficient-attention attention-slicing "
     "enable-attention-slicing opt-sdp-attention flash-attention flash-attn diffusion-fa "
     "use-pytorch-cross-attention"},
    {"here it is --seed", "generator manual-seed rng noise-seed"},
    {"here it is --seed random", "random-seed random"},
    {"weights are always read from safetensors", "use-safetensors safetensors"},
    {"a checkpoint's safety checker is run; --no-safety-checker leaves it out",
     "safety-checker disable-safety-checker nsfw-filter"},
    {"--save-steps FILE.safetensors keeps the latents of each step",
     "callback callback-on-step-end callback-steps save-intermediates"},
    {"here it is --preview-every N", "preview previews preview-interval preview-steps preview-method"},
    {"give --height and --width", "size resolution image-size dimensions"},
    {"here it is --threads", "num-threads cpu-threads n-threads t"},
    {"here it is --device cuda", "gpu gpu-id use-gpu cuda use-cuda d"},
    {"set the environment variable DIFFRACT_LOG=error", "quiet silent q"},
    {"set the environment variable DIFFRACT_LOG=debug", "verbose debug v"},
    {"here it is --allow-tf32", "tf32"},
    {"here it is --float8", "fp8 fp8-unet float8-unet"},
    {"processes are started by diffract launch --nproc-per-node 2 generate ...",
     "num-processes nproc-per-node nproc world-size num-gpus gpus"},
    {"here it is --offload-folder", "offload-dir offload-state-dict"},
    {"here it is --max-memory", "memory-limit max-vram vram device-memory"},
    {"here it is --clip-skip", "clip-stop-at-last-layers clipskip"},
};

constexpr Row kCommands[] = {
    {"here it is diffract generate",
     "txt2img text2img text-to-image t2i draw run create imagine sample infer inference predict gen "
     "image dream"},
    {"it is not there yet: see docs/differences.md",
     "serve server api webui ui outpaint upscale "
     "convert quantize merge train finetune interrogate bench benchmark video txt2vid"},
    {"here it is diffract generate --image FILE", "img2img image-to-image i2i"},
    {"here it is diffract generate --image FILE --mask-image FILE", "inpaint inpainting"},
    {"here it is diffract generate --controlnet FOLDER --control-image FILE", "controlnet control"},
    {"diffract does not download; run: hf download ORG/NAME", "pull download get fetch clone"},
    {"diffract doctor reports on the machine, its models and schedulers",
     "list ls models schedulers samplers env check status system-info devices"},
    {"here it is diffract info", "show inspect describe metadata"},
    {"here it is diffract launch", "torchrun accelerate mpirun distribute start"},
    {"here it is diffract plan", "estimate estimate-memory memory device-map"},
    {"here it is diffract tokenize", "tokens token encode tokenise"},
    {"a token is hf's affair; run: hf auth login", "login auth whoami"},
};

std::vector<ForeignName> each_name(std::span<const Row> rows) {
  std::vector<ForeignName> all;
  for (const Row& row : rows)
    for (size_t begin = 0; begin < row.names.size();) {
      const size_t end = std::min(row.names.find(' ', begin), row.names.size());
      all.push_back({row.names.substr(begin, end - begin), row.advice});
      begin = end + 1;
    }
  return all;
}

}  // namespace

std::span<const ForeignName> foreign_options() {
  static const auto all = each_name(kOptions);
  return all;
}

std::span<const ForeignName> foreign_commands() {
  static const auto all = each_name(kCommands);
  return all;
}

bool can_be_followed(std::string_view advice, const std::vector<std::string>& known) {
  if (advice.find("diffract launch") != std::string_view::npos) return true;
  for (size_t at = advice.find("--"); at != std::string_view::npos; at = advice.find("--", at + 2)) {
    const std::string_view option = advice.substr(at, advice.find_first_of(" ,;:", at) - at);
    if (std::find(known.begin(), known.end(), option) == known.end()) return false;
  }
  return true;
}

}  // namespace diffract::jobs
