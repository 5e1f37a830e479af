"""Routes of the HTTP views."""

from django.urls import path, re_path

from service import views

urlpatterns = [
    path("hello/", views.hello),
    path("users/<int:number>/", views.user),
    path("items/<uuid:item>/", views.item),
    re_path(r"^blobs/(?P<digest>[0-9a-f]{32,64})/$", views.blob),
    path("pages/<str:name>/", views.page),
    path("fail/", views.fail),
    path("slow/", views.slow),
    path("upload/", views.upload),
    path("headers/", views.headers),
    path("stream/", views.stream),
    path("big/", views.big),
    path("empty/", views.empty),
    path("cached/", views.cached),
    path("cookies/", views.cookies),
]
