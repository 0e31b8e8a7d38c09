"""Records of runs (`records`), and the tables (`tables`) and plots (`plots`) that are made from them."""
