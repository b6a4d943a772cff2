#include "diffract/pipelines/request_fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "diffract/core/dashed_option.h"
#include "diffract/core/error.h"
#include "diffract/pipelines/control_preprocessor.h"
#include "diffract/pipelines/field_values.h"
#include "diffract/tensor/dtype.h"

namespace diffract::pipelines {
namespace {

using Kind = RequestField::Kind;
using Scope = RequestField::Scope;

template <typename T>
Json json_of(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}
template <typename T>
Json json_of(const std::vector<T>& list) {
  return list.empty() ? Json() : Json(list);
}
Json json_of(const std::string& value) { return value.empty() ? Json() : Json(value); }
Json json_of(bool value) { return value ? Json(true) : Json(); }
Json json_of(const std::vector<InputPicture>& pictures) {
  Json hashes = Json::array();
  for (const InputPicture& picture : pictures) hashes.push_back(picture.hash());
  return hashes.empty() ? Json() : hashes;
}

template <auto kMember>
Json get(const Request& request) {
  return json_of(request.*kMember);
}

// What `kRead` of field_values.h makes of the value.
template <auto kMember, auto kRead>
void set(Request& request, const Json& value, const std::string& where, const char* key) {
  request.*kMember = kRead(value, where, key);
}
template <auto kMember>
constexpr auto set_integer = set<kMember, integer_value>;
template <auto kMember>
constexpr auto set_number = set<kMember, number_value>;
template <auto kMember>
constexpr auto set_text = set<kMember, text_value>;

// What is wrong with one shows at once.
std::vector<std::string> preprocessors_value(const Json& value, const std::string& where, const char* key) {
  auto texts = texts_value(value, where, key);
  for (const std::string& text : texts) ControlPreprocessor::parse(text);
  return texts;
}

Json get_eta(const Request& request) { return request.eta == 0 ? Json() : Json(request.eta); }

Json get_images(const Request& request) { return request.num_images_per_prompt; }

void set_noise_dtype(Request& request, const Json& value, const std::string& where, const char* key) {
  request.noise_dtype = tensor::parse_dtype(text_value(value, where, key));
}
Json get_noise_dtype(const Request& request) {
  return request.noise_dtype == at::kFloat ? Json() : Json(tensor::dtype_name(request.noise_dtype));
}

Json get_scheduler_config(const Request& request) {
  return request.scheduler_config.empty() ? Json() : request.scheduler_config;
}

void set_output_type(Request& request, const Json& value, const std::string& where, const char* key) {
  const std::string type = ConfigReader(Json{{key, value}}, where).choice(key, {"png", "latent"});
  request.output_type = type == "latent" ? OutputType::latent : OutputType::image;
}
Json get_output_type(const Request& request) {
  return request.output_type == OutputType::latent ? Json("latent") : Json();
}

template <auto kMember>
constexpr RequestField texts_field(const char* name, const char* short_option, const char* help) {
  return {.name = name,
          .alias = nullptr,
          .short_option = short_option,
          .help = help,
          .kind = Kind::texts,
          .scope = Scope::image,
          .set = set<kMember, texts_value>,
          .get = get<kMember>,
          .texts = kMember};
}

template <auto kMember>
constexpr RequestField net_field(const char* name, const char* help, double low, double high) {
  return {.name = name,
          .alias = nullptr,
          .short_option = nullptr,
          .help = help,
          .kind = Kind::numbers_of_nets,
          .scope = Scope::batch,
          .set = set<kMember, numbers_of_nets_value>,
          .get = get<kMember>,
          .low = low,
          .high = high};
}

constexpr double kMostConditionPixels = 1'000'000;  // a position or a size that a model is told, each way

template <auto kMember>
constexpr RequestField pair_field(const char* name, const char* help) {
  return {.name = name,
          .alias = nullptr,
          .short_option = nullptr,
          .help = help,
          .kind = Kind::integers,
          .scope = Scope::batch,
          .set = set<kMember, pair_value>,
          .get = get<kMember>,
          .low = 0,
          .high = kMostConditionPixels};
}

// In the order in which --help, an image's parameters and a job's differences name them.
constexpr RequestField kFields[] = {
    texts_field<&Request::prompt>("prompt", "-p", "What to draw; may be given several times"),
    texts_field<&Request::negative_prompt>("negative_prompt", "-n",
                                           "What not to draw: once for all prompts, or once each"),
    texts_field<&Request::prompt_2>("prompt_2", nullptr,
                                    "For a model's second text encoder: once for all, or once each"),
    texts_field<&Request::negative_prompt_2>(
        "negative_prompt_2", nullptr,
        "What not to draw, for a model's second text encoder: once for all, or once each"),
    {"image", nullptr, nullptr,
     "Picture to begin with (PNG, JPEG, WebP, or .safetensors with latents): once for all prompts, or once "
     "each",
     Kind::pictures, Scope::image, set<&Request::image, pictures_value>, get<&Request::image>},
    {"mask_image", nullptr, nullptr,
     "What of --image to paint anew: white; once for all prompts, or once each", Kind::pictures, Scope::image,
     set<&Request::mask_image, pictures_value>, get<&Request::mask_image>},
    {"ip_adapter_image", nullptr, nullptr,
     "Picture that is a part of all prompts: one for each --ip-adapter, or several for each",
     Kind::shared_pictures, Scope::batch, set<&Request::ip_adapter_image, pictures_value>,
     get<&Request::ip_adapter_image>},
    net_field<&Request::ip_adapter_scale>(
        "ip_adapter_scale",
        "How much --ip-adapter-image counts: once for all IP-Adapters, or once each; default: 1", -100, 100),
    {"strength", nullptr, nullptr,
     "How much of --image to give up, 0 to 1; default: 0.8, of inpainting 1; SDXL: 0.3 and 0.9999",
     Kind::number, Scope::batch, set_number<&Request::strength>, get<&Request::strength>, 0, 1},
    {"padding_mask_crop", nullptr, nullptr,
     "Draw the mask's surroundings of so many pixels in full size, and put them back into --image",
     Kind::integer, Scope::batch, set_integer<&Request::padding_mask_crop>, get<&Request::padding_mask_crop>,
     0, kMostPixels},
    {.name = "control_image",
     .alias = nullptr,
     .short_option = nullptr,
     .help = "Picture that a --controlnet follows: one for each of them, for all prompts",
     .kind = Kind::pictures,
     .scope = Scope::image,
     .set = set<&Request::control_image, pictures_value>,
     .get = get<&Request::control_image>,
     .several_each = true},
    {.name = "control_preprocessor",
     .alias = nullptr,
     .short_option = nullptr,
     .help = "What to make of --control-image first: none, canny, canny:LOW:HIGH, or inpaint (without what "
             "--mask-image makes anew); once for all, or once for each ControlNet; default: none",
     .kind = Kind::texts_of_nets,
     .scope = Scope::batch,
     .set = set<&Request::control_preprocessor, preprocessors_value>,
     .get = get<&Request::control_preprocessor>},
    net_field<&Request::controlnet_conditioning_scale>(
        "controlnet_conditioning_scale",
        "How much a ControlNet moves: once for all of them, or once each; default: 1, with --image 0.8, of "
        "inpainting 0.5; SDXL: 1, 0.8 and 1",
        -100, 100),
    net_field<&Request::control_guidance_start>(
        "control_guidance_start", "Share of the walk from which a ControlNet acts; default: 0", 0, 1),
    net_field<&Request::control_guidance_end>(
        "control_guidance_end", "Share of the walk up to which a ControlNet acts; default: 1", 0, 1),
    {"guess_mode", nullptr, nullptr,
     "ControlNets act on the prompt's half alone, on fine features less: for pictures without a prompt",
     Kind::flag, Scope::batch, set<&Request::guess_mode, flag_value>, get<&Request::guess_mode>},
    {"pipeline", nullptr, nullptr,
     "diffusers' class to run as, e.g. StableDiffusionImg2ImgPipeline; default: as the inputs ask for",
     Kind::text, Scope::batch, set_text<&Request::pipeline>, get<&Request::pipeline>},
    {"seed", nullptr, "-s", "Image i uses seed + i; random draws one and prints it; default: 0", Kind::seed,
     Scope::image, set<&Request::seed, seed_value>, get<&Request::seed>},
    {"num_inference_steps", "steps", nullptr, "Denoising steps", Kind::integer, Scope::batch,
     set_integer<&Request::num_inference_steps>, get<&Request::num_inference_steps>, 1, 10'000},
    {"guidance_scale", nullptr, nullptr, "How closely to follow the prompt; 1 and below: no guidance",
     Kind::number, Scope::batch, set_number<&Request::guidance_scale>, get<&Request::guidance_scale>, 0,
     1000},
    {"true_cfg_scale", nullptr, nullptr, "Guidance with a negative prompt in guidance-distilled models",
     Kind::number, Scope::batch, set_number<&Request::true_cfg_scale>, get<&Request::true_cfg_scale>, 0,
     1000},
    {"guidance_rescale", nullptr, nullptr, "Reduces over-exposure at high guidance (try 0.7)", Kind::number,
     Scope::batch, set_number<&Request::guidance_rescale>, get<&Request::guidance_rescale>, 0, 1},
    {"clip_skip", nullptr, nullptr, "Last layers of the CLIP text encoder to skip", Kind::integer,
     Scope::batch, set_integer<&Request::clip_skip>, get<&Request::clip_skip>},
    {"max_sequence_length", nullptr, nullptr, "Tokens of the T5 prompt", Kind::integer, Scope::batch,
     set_integer<&Request::max_sequence_length>, get<&Request::max_sequence_length>, 1, 512},
    {"eta", nullptr, nullptr, "DDIM's and TCD's share of fresh noise; default: 0", Kind::number, Scope::batch,
     set_number<&Request::eta>, get_eta, 0, 1},
    {"timesteps", nullptr, nullptr, "The schedule itself in place of steps, e.g. 999,759,499,259",
     Kind::numbers, Scope::batch, set<&Request::timesteps, numbers_value>, get<&Request::timesteps>},
    {"sigmas", nullptr, nullptr, "The same as noise levels, e.g. 14.6,6.5,2.7,0.5,0; FLUX: 1,0.75,0.5,0.25",
     Kind::numbers, Scope::batch, set<&Request::sigmas, numbers_value>, get<&Request::sigmas>},
    {"denoising_end", nullptr, nullptr,
     "SDXL: share of the walk after which to stop, for a refiner to go on; 0 and 1: none", Kind::number,
     Scope::batch, set_number<&Request::denoising_end>, get<&Request::denoising_end>, 0, 1},
    {"denoising_start", nullptr, nullptr,
     "SDXL: share of the walk from which to go on with --image as it is, as a refiner does behind "
     "--denoising-end",
     Kind::number, Scope::batch, set_number<&Request::denoising_start>, get<&Request::denoising_start>, 0, 1},
    pair_field<&Request::original_size>("original_size",
                                        "SDXL: HEIGHT,WIDTH it is told as the original's; default: the "
                                        "picture's"),
    pair_field<&Request::crops_coords_top_left>("crops_coords_top_left",
                                                "SDXL: TOP,LEFT it is told as the crop's; default: 0,0"),
    pair_field<&Request::target_size>("target_size",
                                      "SDXL: HEIGHT,WIDTH it is told as the picture's; default: the "
                                      "picture's"),
    pair_field<&Request::negative_original_size>("negative_original_size",
                                                 "SDXL: --original-size of the negative prompt, with "
                                                 "--negative-target-size; default: the prompt's"),
    pair_field<&Request::negative_crops_coords_top_left>("negative_crops_coords_top_left",
                                                         "SDXL: --crops-coords-top-left of the negative "
                                                         "prompt, with the sizes; default: 0,0"),
    pair_field<&Request::negative_target_size>("negative_target_size",
                                               "SDXL: --target-size of the negative prompt, with "
                                               "--negative-original-size; default: the prompt's"),
    {"aesthetic_score", nullptr, nullptr, "SDXL's refiner: how good the picture is to look; default: 6",
     Kind::number, Scope::batch, set_number<&Request::aesthetic_score>, get<&Request::aesthetic_score>, 0,
     100},
    {"negative_aesthetic_score", nullptr, nullptr,
     "SDXL's refiner: --aesthetic-score of the negative prompt; default: 2.5", Kind::number, Scope::batch,
     set_number<&Request::negative_aesthetic_score>, get<&Request::negative_aesthetic_score>, 0, 100},
    {"noise_dtype", nullptr, nullptr,
     "Type in which the noise is drawn; default: float32, the same image for every --dtype. diffusers draws "
     "in its torch_dtype, which gives other images",
     Kind::dtype, Scope::batch, set_noise_dtype, get_noise_dtype},
    {"height", nullptr, "-H", "Pixels, a multiple of 8; FLUX rounds down to one of 16", Kind::integer,
     Scope::batch, set_integer<&Request::height>, get<&Request::height>, 1, kMostPixels},
    {"width", nullptr, "-W", "Pixels, a multiple of 8; FLUX rounds down to one of 16", Kind::integer,
     Scope::batch, set_integer<&Request::width>, get<&Request::width>, 1, kMostPixels},
    {"scheduler", nullptr, nullptr, "Class, e.g. EulerDiscreteScheduler; default: the checkpoint's",
     Kind::text, Scope::batch, set_text<&Request::scheduler>, get<&Request::scheduler>},
    {"scheduler_config", nullptr, nullptr,
     "JSON object of keys to change, e.g. '{\"use_karras_sigmas\": true}'", Kind::json, Scope::batch,
     set<&Request::scheduler_config, object_value>, get_scheduler_config},
    {"num_images_per_prompt", nullptr, nullptr, "Images of each prompt; default: 1", Kind::integer,
     Scope::count, set_integer<&Request::num_images_per_prompt>, get_images, 1, kMostImages},
    {"output_type", nullptr, nullptr, "png, or latent: one safetensors file; default: png", Kind::output,
     Scope::job, set_output_type, get_output_type},
};

bool is_same(std::string_view name, const char* known) {
  return known && std::equal(name.begin(), name.end(), known, known + std::string_view(known).size(),
                             [](char a, char b) { return (a == '-' ? '_' : a) == b; });
}

}  // namespace

std::string RequestField::option() const { return dashed_option(name); }

std::span<const RequestField> request_fields() { return kFields; }

std::span<const RequestField* const> text_fields() {
  static const auto all = [] {
    std::vector<const RequestField*> fields;
    for (const RequestField& field : kFields)
      if (field.kind == Kind::texts) fields.push_back(&field);
    return fields;
  }();
  return all;
}

const RequestField* find_request_field(std::string_view name) {
  for (const RequestField& field : kFields)
    if (is_same(name, field.name) || is_same(name, field.alias)) return &field;
  return nullptr;
}

const RequestField& request_field(std::string_view name) {
  if (const RequestField* field = find_request_field(name)) return *field;
  throw InternalError("request_fields: has no \"{}\"", name);
}

void check_ranges(const Request& request) {
  for (const RequestField& field : kFields) {
    const bool is_list = field.kind == Kind::integers || field.kind == Kind::numbers_of_nets;
    if (field.kind != Kind::integer && field.kind != Kind::number && !is_list) continue;
    const Json value = field.get(request);
    if (value.is_null()) continue;
    for (const Json& one : is_list ? value : Json::array({value})) {
      const auto number = one.get<double>();
      if (!(number >= field.low && number <= field.high))
        throw UsageError("{} {}: expected {} to {}", field.name, number, field.low, field.high);
    }
  }
}

}  // namespace diffract::pipelines
