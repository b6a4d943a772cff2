// A picture of a prompt with the model that ships with diffract.
#include <cstdio>

#include "diffract/diffract.h"
#include "examples/usage.h"

int main(int argc, char** argv) {
  if (asks_for_help(argc, argv, "text_to_image [PROMPT]")) return 0;
  const std::string prompt = argc > 1 ? argv[1] : "a dog";
  try {
    const auto pipeline = diffract::DiffusionPipeline::from_pretrained("emoji-sd");
    const auto result = pipeline({.prompt = {prompt}, .num_inference_steps = 25, .seed = 7});
    result.images[0].save("text_to_image.png");
    std::puts("text_to_image.png");
  } catch (const diffract::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return diffract::error_info(error.kind()).exit_code;
  }
}
