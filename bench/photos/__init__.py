"""What a pretrained backbone brings where photos are few: 20 classes of CIFAR-100 in four steps of five."""
