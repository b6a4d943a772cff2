#include "diffract/net/peer_names.h"

#include <dlfcn.h>
#include <netdb.h>

// c10d asks for the name of every peer, for a log line, and waits for the answer: a client in each connect,
// the store's server in the loop that serves all ranks. Where no DNS answers that is 5 s and more a
// connection. This definition is found before libc's; it gives numeric addresses, which no c10d message is
// the worse for.
extern "C" __attribute__((visibility("default"))) int getnameinfo(const sockaddr* address, socklen_t length,
                                                                  char* host, socklen_t host_length,
                                                                  char* service, socklen_t service_length,
                                                                  int flags) {
  using Function = decltype(&::getnameinfo);
  static const auto libc = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "getnameinfo"));
  return libc ? libc(address, length, host, host_length, service, service_length, flags | NI_NUMERICHOST)
              : EAI_SYSTEM;
}

namespace diffract::net {

void keep_peers_numeric() {}

}  // namespace diffract::net
