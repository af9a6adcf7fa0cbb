// Stands in for the theme's file of the same name (1.5 MB): icons.css draws the icons that the pages use.
