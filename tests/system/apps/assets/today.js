window.todayAsset = "served";
