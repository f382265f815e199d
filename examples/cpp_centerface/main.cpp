// Finds faces in a picture: OpenCV reads and prepares it, Burnish runs the network, decode.cpp makes boxes of its maps.
//
//   centerface MODEL.so PICTURE [--draw FACES.png] [--raw OUTPUTS] [--threads N]
//
// Prints one line a face: score, box, landmarks, in pixels of the picture; the milliseconds of one run go to stderr.
// --raw writes the network's outputs as they are, one after the other: what another program's can be compared with.
#include <burnish/burnish.hpp>

#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>

#include "decode.h"

namespace {

struct Options {
  std::string library, picture, drawing, raw;
  unsigned threads = 0;
};

bool parse(int argc, char** argv, Options& options) {
  int plain = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool named = word.rfind("--", 0) == 0;
    if (named && i + 1 == argc) return false;
    if (word == "--draw") options.drawing = argv[++i];
    else if (word == "--raw") options.raw = argv[++i];
    else if (word == "--threads") options.threads = static_cast<unsigned>(std::strtoul(argv[++i], nullptr, 10));
    else if (named || plain == 2) return false;
    else (plain++ == 0 ? options.library : options.picture) = word;
  }
  return plain == 2;
}

int detect(const Options& options) {
  const burnish::Model model = burnish::Model::load(options.library);
  if (model.inputs().size() != 1 || model.outputs().size() != 4) {
    std::fprintf(stderr, "%s has not the one input and four outputs of CenterFace\n", options.library.c_str());
    return 1;
  }
  const burnish::TensorInfo input = model.inputs()[0];
  const int height = static_cast<int>(input.shape[2]), width = static_cast<int>(input.shape[3]);
  burnish::Session session = model.session({.threads = options.threads});

  cv::Mat image = cv::imread(options.picture, cv::IMREAD_COLOR);
  if (image.empty()) {
    std::fprintf(stderr, "cannot read %s as a picture\n", options.picture.c_str());
    return 1;
  }
  // The picture is shrunk to fit, never enlarged, and stands in the upper left corner of the network's input.
  const double factor = std::min({1.0, double(width) / image.cols, double(height) / image.rows});
  cv::Mat fitted, canvas(height, width, CV_8UC3, cv::Scalar::all(0));
  cv::resize(image, fitted, {}, factor, factor, cv::INTER_AREA);
  fitted.copyTo(canvas(cv::Rect(0, 0, fitted.cols, fitted.rows)));
  const cv::Mat blob = cv::dnn::blobFromImage(canvas, 1.0, {}, {}, /*swapRB=*/true);  // 1x3xHxW, RGB, 0-255

  session.set_input(input.name, blob.ptr<float>(), blob.total());
  session.run();
  const auto out = [&](int i) { return session.output<float>(model.outputs()[i].name); };
  const auto heatmap = out(0), scale = out(1), offset = out(2), landmarks = out(3);
  const Maps maps{heatmap, scale, offset, landmarks, static_cast<int>(heatmap.shape()[2]),
                  static_cast<int>(heatmap.shape()[3])};

  for (const Face& f : decode(maps)) {
    const auto back = [&](float v) { return static_cast<float>(v / factor); };
    std::printf("face %.4f box %.2f %.2f %.2f %.2f landmarks", f.score, back(f.x1), back(f.y1), back(f.x2), back(f.y2));
    for (const Point& p : f.landmarks) std::printf(" %.2f %.2f", back(p.x), back(p.y));
    std::printf("\n");
    cv::rectangle(image, cv::Point2f(back(f.x1), back(f.y1)), cv::Point2f(back(f.x2), back(f.y2)), {0, 220, 0}, 2);
    for (const Point& p : f.landmarks) {
      cv::circle(image, cv::Point2f(back(p.x), back(p.y)), 2, {0, 0, 255}, cv::FILLED);
    }
  }
  if (!options.drawing.empty() && !cv::imwrite(options.drawing, image)) {
    std::fprintf(stderr, "cannot write %s\n", options.drawing.c_str());
    return 1;
  }
  if (!options.raw.empty()) {
    std::ofstream file(options.raw, std::ios::binary);
    for (const auto& output : {heatmap, scale, offset, landmarks}) {
      file.write(reinterpret_cast<const char*>(output.data()), static_cast<std::streamsize>(4 * output.size()));
    }
    if (!file.flush()) {
      std::fprintf(stderr, "cannot write %s\n", options.raw.c_str());
      return 1;
    }
  }

  double best = 1e9;
  for (int i = 0; i < 10; ++i) {
    const auto start = std::chrono::steady_clock::now();
    session.run();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::fprintf(stderr, "%dx%d, %u threads: %.2f ms\n", height, width, session.threads(), best * 1e3);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr, "usage: centerface MODEL.so PICTURE [--draw FACES.png] [--raw OUTPUTS] [--threads N]\n");
    return 2;
  }
  try {
    return detect(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
