// Stands in for libcuda.so.1, as a driver of CUDA 12.4 would be found.
extern "C" __attribute__((visibility("default"))) int cuDriverGetVersion(int* version) {
  *version = 12040;
  return 0;
}

extern "C" __attribute__((visibility("default"))) int cuInit(unsigned) { return 0; }
