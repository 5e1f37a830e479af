#include "app/server.h"
#include "cli/command_line.h"

int main(int argc, char** argv) {
  return wscope::cli::run({argv + 1, argv + argc}, wscope::app::run_server);
}
