// Finds faces in a picture: OpenCV reads and prepares it, Burnish runs the network, decode.cpp makes boxes of its maps.
//
//   centerface model.so picture.png [faces.png] [threads]
//
// Prints one line a face: score, box, landmarks, in pixels of the picture; then the milliseconds of one run.
// The same lines on every run: the last line alone, on stderr, has times.
#include <burnish/burnish.hpp>

#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "decode.h"

namespace {

int detect(const std::string& library, const std::string& picture, const std::string& drawing, unsigned threads) {
  const burnish::Model model = burnish::Model::load(library);
  if (model.inputs().size() != 1 || model.outputs().size() != 4) {
    std::fprintf(stderr, "%s has not the one input and four outputs of CenterFace\n", library.c_str());
    return 1;
  }
  const burnish::TensorInfo input = model.inputs()[0];
  const int height = static_cast<int>(input.shape[2]), width = static_cast<int>(input.shape[3]);
  burnish::Session session = model.session({.threads = threads});

  cv::Mat image = cv::imread(picture, cv::IMREAD_COLOR);
  if (image.empty()) {
    std::fprintf(stderr, "cannot read %s as a picture\n", picture.c_str());
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
  if (!drawing.empty() && !cv::imwrite(drawing, image)) {
    std::fprintf(stderr, "cannot write %s\n", drawing.c_str());
    return 1;
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
  if (argc < 3 || argc > 5) {
    std::fprintf(stderr, "usage: centerface model.so picture.png [faces.png] [threads]\n");
    return 2;
  }
  try {
    return detect(argv[1], argv[2], argc > 3 ? argv[3] : "", argc > 4 ? std::strtoul(argv[4], nullptr, 10) : 0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
