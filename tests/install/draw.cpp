#include <diffract/diffract.h>

#include <cstdio>

int main() {
  const auto pipeline = diffract::DiffusionPipeline::from_pretrained("emoji-sd");
  const auto result = pipeline({.prompt = {"a cat"}, .num_inference_steps = 4});
  result.images.at(0).save("cat.png");
  std::puts("cat.png");
}
