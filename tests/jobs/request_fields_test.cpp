// Walks the table of a request's options: what is declared there reaches every use.
#include "diffract/pipelines/request_fields.h"

#include <gtest/gtest.h>

#include <set>

#include "diffract/core/error.h"
#include "diffract/jobs/job_description.h"
#include "diffract/jobs/picture_parameters.h"
#include "diffract/jobs/prompt_entry.h"
#include "diffract/loading/load_fields.h"
#include "tests/support/temp_folder.h"

namespace diffract::jobs {
namespace {

using pipelines::Request;
using pipelines::RequestField;
using Kind = RequestField::Kind;
using Scope = RequestField::Scope;

const io::Image kBlack{.width = 64, .height = 64, .pixels = std::vector<uint8_t>(64 * 64 * 3)};
const Request kBase = {.prompt = {"a dog"},
                       .prompt_2 = {"x"},
                       .negative_prompt = {"y"},
                       .negative_prompt_2 = {"z"},
                       .image = {kBlack},
                       .mask_image = {kBlack},
                       .control_image = {kBlack},
                       .seed = 3};

// A value that kBase does not have.
Json other_value(const RequestField& field) {
  switch (field.kind) {
    case Kind::texts:
      return "other";
    case Kind::pictures:
    case Kind::shared_pictures:
      return test::data("reference/inputs/square.png").string();
    case Kind::integer:
      return 16;
    case Kind::integers:
      return {16, 24};
    case Kind::number:
      return 0.5;
    case Kind::numbers_of_nets:
      return {0.5, 0.25};
    case Kind::numbers:
      return {900.0, 500.5, 100.0};
    case Kind::texts_of_nets:
      return {"canny"};
    case Kind::flag:
      return true;
    case Kind::seed:
      return 99u;
    case Kind::text:
      return "EulerDiscreteScheduler";
    case Kind::json:
      return {{"use_karras_sigmas", true}};
    case Kind::dtype:
      return "float16";
    case Kind::output:
      return "latent";
  }
  return nullptr;
}

Request with(const RequestField& field, const Json& value) {
  Request request = kBase;
  field.set(request, value, "test", field.name);
  return request;
}

std::string fingerprint(const Request& request) {
  return describe_job(plan_job({request}, 0, 8), JobSchedule::dynamic, Json::object());
}

TEST(RequestFields, EachChangesTheFingerprint) {
  for (const RequestField& field : pipelines::request_fields())
    EXPECT_NE(fingerprint(with(field, other_value(field))), fingerprint(kBase)) << field.name;
}

TEST(RequestFields, EachChangesTheParametersOfAPicture) {
  const auto pipeline =
      families::DiffusionPipeline::from_pretrained(test::data("reference/checkpoints/sd15").string());
  const PictureParameters parameters(pipeline, Json::object());
  const auto of = [&](const Request& request) {
    const auto batches = plan_job({request}, 0, 8);
    return parameters.of(batches[0], batches[0].images[0]);
  };
  for (const RequestField& field : pipelines::request_fields()) {
    const bool is_seen = field.scope == Scope::image || field.scope == Scope::batch;
    EXPECT_EQ(of(with(field, other_value(field))) != of(kBase), is_seen) << field.name;
  }
}

TEST(RequestFields, PicturesShareABatchWhereTheFieldsOfABatchAgree) {
  for (const RequestField& field : pipelines::request_fields()) {
    const auto batches = plan_job({kBase, with(field, other_value(field))}, 0, 64);
    const bool may_share = field.scope == Scope::image || field.scope == Scope::count;
    EXPECT_EQ(batches.size(), may_share ? 1u : 2u) << field.name;
  }
}

TEST(RequestFields, JsonLinesTakeEachThatIsNotTheWholeJobs) {
  for (const RequestField& field : pipelines::request_fields()) {
    Json line = {{"prompt", "a dog"}};
    line[field.name] = other_value(field);
    if (field.scope == Scope::job) {
      EXPECT_THROW(prompt_entry(line, "line", kBase), UsageError) << field.name;
      continue;
    }
    const Json found = field.get(prompt_entry(line, "line", Request()));
    // Of pictures the content counts, not the name.
    const bool has_pictures = field.kind == Kind::pictures || field.kind == Kind::shared_pictures;
    const Json content = field.get(with(field, other_value(field)));
    const Json wanted = !has_pictures ? other_value(field) : field.is_list() ? content[0] : content;
    EXPECT_EQ(field.is_list() ? found[0] : found, wanted) << field.name;
    if (field.alias) {
      EXPECT_EQ(pipelines::find_request_field(field.alias), &field);
    }
    EXPECT_EQ(pipelines::find_request_field(field.option().substr(2)), &field);
  }
}

TEST(RequestFields, NumbersAreCheckedAtTheirBounds) {
  for (const RequestField& field : pipelines::request_fields()) {
    if (!std::isfinite(field.high)) continue;
    const auto json_of = [&](double value) -> Json {
      if (field.kind == Kind::integers) return {1, static_cast<int64_t>(value)};
      if (field.kind == Kind::numbers_of_nets) return {0.5, value};
      return field.kind == Kind::integer ? Json(static_cast<int64_t>(value)) : Json(value);
    };
    const auto is_refused = [&](double value) {
      const std::string message =
          test::error_of<UsageError>([&] { check_ranges(with(field, json_of(value))); });
      return message.starts_with(field.name);
    };
    const bool is_real = field.kind == Kind::number || field.kind == Kind::numbers_of_nets;
    const double step = is_real ? 0.001 : 1;
    EXPECT_TRUE(is_refused(field.high + step)) << field.name;
    EXPECT_TRUE(is_refused(field.low - step)) << field.name;
    EXPECT_NO_THROW(check_ranges(with(field, json_of(field.high)))) << field.name;
  }
}

TEST(RequestFields, APairIsAListOrATextWithAComma) {
  const RequestField& field = pipelines::request_field("original_size");
  for (const Json& good : {Json({1024, 768}), Json("1024,768"), Json(" 1024, 768")})
    EXPECT_EQ(field.get(with(field, good)), Json({1024, 768})) << good;
  for (const Json& bad :
       {Json("1024"), Json("1024,768,1"), Json("1024x768"), Json("1.5,2"), Json(""), Json(3), Json({1}),
        Json({"1", "2"}), Json("1,2],[3"), Json({1, nullptr}), Json({1, 18446744073709551615u})}) {
    const auto message = test::error_of<Error>([&] { with(field, bad); });
    EXPECT_NE(message.find("original_size"), std::string::npos) << bad << ": " << message;
  }
}

TEST(RequestFields, NumbersOfNetsAreOneOrAList) {
  const RequestField& field = pipelines::request_field("controlnet_conditioning_scale");
  EXPECT_EQ(field.get(with(field, 0.5)), Json({0.5}));
  for (const Json& good : {Json({0.5, 1.0}), Json({"0.5", "1"}), Json({".5", "1.0"})})
    EXPECT_EQ(field.get(with(field, good)), Json({0.5, 1.0})) << good;
  for (const Json& bad : {Json("x"), Json("0.5,1"), Json("inf"), Json("nan"), Json(""), Json({1, "y"}),
                          Json(true), Json({{"a", 1}}), Json(std::vector<double>(17, 1.0))}) {
    const auto message = test::error_of<Error>([&] { with(field, bad); });
    EXPECT_NE(message.find("controlnet_conditioning_scale"), std::string::npos) << bad << ": " << message;
  }
}

TEST(RequestFields, APromptMayHaveSeveralControlPictures) {
  const Json file = test::data("reference/inputs/square.png").string(),
             other = test::data("reference/inputs/edges.png").string();
  const Request entry =
      prompt_entry({{"prompt", "a dog"}, {"control_image", {file, other}}}, "line", Request());
  ASSERT_EQ(entry.control_image.size(), 2u);
  const auto batches = plan_job({entry, entry}, 0, 8, 2);
  ASSERT_EQ(batches.size(), 1u);
  ASSERT_EQ(batches[0].request.control_image.size(), 4u);
  EXPECT_EQ(batches[0].request.control_image[3].hash(), entry.control_image[1].hash());
  const auto pipeline =
      families::DiffusionPipeline::from_pretrained(test::data("reference/checkpoints/sd15").string());
  const Json found = PictureParameters(pipeline, Json::object()).of(batches[0], batches[0].images[1]);
  EXPECT_EQ(found["control_image"], Json({entry.control_image[0].hash(), entry.control_image[1].hash()}));
  EXPECT_EQ(found["pipeline"], "StableDiffusionControlNetPipeline");
  EXPECT_EQ(found["controlnet_conditioning_scale"], Json({1.0}));
  EXPECT_EQ(test::error_of<UsageError>([&] { plan_job({entry}, 0, 8, 3); }),
            "control_image: 2 given for 3 ControlNets; give one for each, in their order");
}

TEST(RequestFields, TextsKnowWhereTheyAreKept) {
  for (const RequestField& field : pipelines::request_fields()) {
    ASSERT_EQ(field.texts != nullptr, field.kind == Kind::texts) << field.name;
    if (field.texts) {
      EXPECT_EQ(Json(with(field, "other").*field.texts), Json({"other"})) << field.name;
    }
  }
}

TEST(RequestFields, NamesAreTheirOwn) {
  std::set<std::string> names;
  const auto add = [&](const char* name) { EXPECT_TRUE(names.insert(name).second) << name; };
  for (const RequestField& field : pipelines::request_fields()) {
    add(field.name);
    if (field.alias) add(field.alias);
    if (field.short_option) add(field.short_option);
  }
  for (const auto& field : loading::load_fields()) add(field.name);
}

TEST(LoadFields, EachIsSetFromItsText) {
  const auto file = [](const char* name) { return test::data(std::string("reference/") + name).string(); };
  const std::map<std::string, std::string> texts = {
      {"lora", file("loras/sd15_peft.safetensors") + "=0.5\n"},
      {"textual_inversion", file("embeddings/sd15_one.safetensors") + "=<x>\n"},
      {"controlnet", file("checkpoints/controlnet-sd15-a") + "\n"},
      {"config", file("checkpoints/sd15")},
      {"vae", file("checkpoints/taesd")},
      {"preview_vae", file("checkpoints/taesd")},
      {"unet", file("checkpoints/sd15/unet")},
      {"transformer", file("checkpoints/flux-dev/transformer")},
      {"text_encoder", file("single/sd15.safetensors")},
      {"text_encoder_2", file("checkpoints/sdxl")},
      {"ip_adapter", file("ip_adapters/sd15.safetensors") + "\n"},
      {"ip_adapter_image_encoder", file("checkpoints/ip-image-encoder")},
      {"dtype", "float16"},
      {"compute_dtype", "float32"},
      {"device", "cpu"},
      {"device_map", "auto"},
      {"max_memory", "cpu=1GB"},
      {"variant", "fp16"},
      {"offload_folder", "x"}};
  for (const auto& field : loading::load_fields()) {
    const bool is_flag = field.kind == loading::LoadField::Kind::flag;
    ASSERT_TRUE(is_flag || texts.contains(field.name)) << field.name;
    loading::LoadTexts given = {{field.name, is_flag ? "true" : texts.at(field.name)}};
    if (field.name == std::string_view("ip_adapter_image_encoder"))  // of an adapter
      given["ip_adapter"] = texts.at("ip_adapter");
    EXPECT_NO_THROW(loading::load_options(given, 0)) << field.name;
    size_t scopes = 0;
    for (const auto scope : {loading::LoadField::Scope::images, loading::LoadField::Scope::placement,
                             loading::LoadField::Scope::process})
      scopes += loading::load_parameters(given, scope).contains(field.name) ? 1 : 0;
    EXPECT_EQ(scopes, 1u) << field.name;
  }
  EXPECT_THROW(loading::load_options({{"dtype", "int3"}}, 0), UsageError);
  EXPECT_THROW(loading::load_options({{"ip_adapter_image_encoder", "x"}}, 0), UsageError);
}

}  // namespace
}  // namespace diffract::jobs
