#include "tests/support/ranks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

namespace diffract::test {

uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (::bind(socket, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0)
    throw std::runtime_error("no free port");
  ::close(socket);
  return ntohs(address.sin_port);
}

Ranks::Ranks(const Start& start) {
  const std::string port = std::to_string(start.port != 0 ? start.port : free_port());
  const std::string size = std::to_string(start.world_size);
  for (int rank = 0; rank < start.world_size; ++rank) {
    const std::string number = std::to_string(rank);
    Process::Start one{.command = start.command,
                       .folder = start.folder,
                       .environment = {{"RANK", number},
                                       {"WORLD_SIZE", size},
                                       {"LOCAL_RANK", number},
                                       {"LOCAL_WORLD_SIZE", size},
                                       {"MASTER_ADDR", "127.0.0.1"},
                                       {"MASTER_PORT", port}}};
    one.environment.insert(one.environment.end(), start.environment.begin(), start.environment.end());
    processes.push_back(std::make_unique<Process>(one));
  }
}

std::vector<ProgramResult> Ranks::finish() {
  std::vector<ProgramResult> results;
  for (auto& process : processes) results.push_back(process->finish());
  return results;
}

}  // namespace diffract::test
